"""CION's train step in plain PyTorch, the loss as its nested loops: what `benchmarks.throughput` compares with.

The same mathematics as `methods.distill` in the way that PyTorch programs put it: multi-crop views as a list, a
loop over view pairs and image pairs, AdamW with parameter groups, clipping tensor by tensor, a moving average.
Where PyTorch has a fast form at hand (fused AdamW, foreach moving average, channels-last, fused attention) it is
used, and the log-softmax is taken once per view: a slow opponent would prove nothing.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from benchmarks import torch_models

STUDENT_TEMP, TEACHER_TEMP, CENTER_MOMENTUM, CLIP = 0.1, 0.04, 0.9, 3.0


def identity_loss(
    student: list[torch.Tensor], teacher: list[torch.Tensor], center: torch.Tensor, images_per_identity: int
) -> torch.Tensor:
    """The released code's sum over pairs of views and ordered pairs of images; lists of [batch, K] by view."""
    n = images_per_identity
    targets = [torch.softmax((view.float() - center) / TEACHER_TEMP, dim=-1).detach() for view in teacher]
    logs = [torch.log_softmax(view.float() / STUDENT_TEMP, dim=-1) for view in student]
    total, pairs = 0.0, 0
    for a, target in enumerate(targets):
        for b, log in enumerate(logs):
            if a == b:
                continue
            term = -(target * log).sum(dim=-1).mean()
            for i in range(n):
                for j in range(n):
                    if i != j:
                        term = term - (target[i::n] * log[j::n]).sum(dim=-1).mean()
            total, pairs = total + term / (n * (n - 1) + 1), pairs + 1
    return total / pairs


class Trainer:
    """Student, teacher, centre and optimizer, starting from given weights.

    Args:
      name: model of the zoo, one that `torch_models.create` knows.
      backbone, head: state dicts of NumPy arrays, as `bridge.to_torch` and `bridge.head_to_torch` give them.
      width: of the features.
      images_per_identity: N_id.
      lr, weight_decay, momentum: constants of the step.
      device: "cpu" or "cuda".
      autocast: bfloat16 in matrix products and convolutions.
      compiled: pass the backbones through torch.compile.
      layout: "channels_last" or "contiguous", of pictures and kernels in memory.
    """

    def __init__(
        self,
        name: str,
        backbone: Mapping[str, np.ndarray],
        head: Mapping[str, np.ndarray],
        *,
        width: int,
        images_per_identity: int,
        lr: float,
        weight_decay: float,
        momentum: float,
        device: str = "cpu",
        autocast: bool = False,
        compiled: bool = False,
        layout: str = "channels_last",
    ):
        self._layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[layout]
        outputs = head["last_layer.weight_v"].shape[0]
        hidden, bottleneck = head["mlp.0.weight"].shape[0], head["last_layer.weight_v"].shape[1]

        def network() -> nn.ModuleDict:
            parts = nn.ModuleDict(
                {
                    "backbone": torch_models.create(name),
                    "head": torch_models.DINOHead(width, outputs, hidden, bottleneck),
                }
            )
            parts["backbone"].load_state_dict(_tensors(backbone))
            parts["head"].load_state_dict(_tensors(head))
            return parts.to(device, memory_format=self._layout).train()

        self.student, self.teacher = network(), network()
        self.teacher.requires_grad_(False)
        self.center = torch.zeros(outputs, device=device)
        self._n, self._momentum, self._device = images_per_identity, momentum, device
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=autocast)
        self._backbones = {
            id(net): torch.compile(net["backbone"]) if compiled else net["backbone"]
            for net in (self.student, self.teacher)
        }
        self._optimizer = torch.optim.AdamW(self._groups(weight_decay), lr=lr, fused=True)
        self._trainable = [p for p in self.student.parameters() if p.requires_grad]
        self._pairs = (list(self.teacher.parameters()), list(self.student.parameters()))

    def place(self, views: np.ndarray) -> list[torch.Tensor]:
        """Views [batch, n, h, w, 3] as a list of n tensors [batch, 3, h, w] on the device."""
        arrays = (
            np.ascontiguousarray(views[:, i].transpose(0, 3, 1, 2), np.float32) for i in range(views.shape[1])
        )
        return [torch.from_numpy(a).to(self._device).to(memory_format=self._layout) for a in arrays]

    def step(self, global_views: list[torch.Tensor], local_views: list[torch.Tensor]) -> tuple[float, float]:
        """One update; gives the loss and the gradient's L2 norm before clipping, as host numbers."""
        with self._autocast:
            with torch.no_grad():
                teacher = self._outputs(self.teacher, [global_views])
            student = self._outputs(self.student, [global_views, local_views])
            loss = identity_loss(student, teacher, self.center, self._n)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = self._clip()
        self._optimizer.step()
        with torch.no_grad():
            means, currents = self._pairs
            torch._foreach_lerp_(means, currents, 1.0 - self._momentum)
            mean = torch.cat(teacher).float().mean(dim=0)
            self.center.mul_(CENTER_MOMENTUM).add_(mean, alpha=1.0 - CENTER_MOMENTUM)
        return loss.item(), norm.item()

    def _outputs(self, net: nn.ModuleDict, groups: list[list[torch.Tensor]]) -> list[torch.Tensor]:
        """One pass of the backbone per crop size, one of the head over all views."""
        backbone = self._backbones[id(net)]
        views = [view for group in groups for view in group]
        features = [backbone(torch.cat(group)) for group in groups if group]
        return list(net["head"](torch.cat(features)).chunk(len(views)))

    def _clip(self) -> torch.Tensor:
        """Every tensor to a norm of at most 3, as the released code does; the norm of all, unclipped."""
        gradients = [p.grad for p in self._trainable if p.grad is not None]
        norms = torch._foreach_norm(gradients)
        for gradient, norm in zip(gradients, norms, strict=True):
            gradient.mul_((CLIP / (norm + 1e-6)).clamp(max=1.0))
        return torch.stack(norms).norm()

    def _groups(self, weight_decay: float) -> list[dict]:
        decay, plain = [], []
        for name, parameter in self.student.named_parameters():
            if parameter.requires_grad:
                (plain if parameter.ndim <= 1 or name.endswith(".bias") else decay).append(parameter)
        return [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _tensors(state: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(value) for key, value in state.items()}
