"""Person tracklets out of videos: --config.source=VIDEO_OR_FOLDER [--config.target=FOLDER]."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Every setting of the task `tracklets` with its default."""
    c = ConfigDict()
    c.task = "tracklets"  # which task of cion_jax/tasks runs
    c.source = ""  # a video, or a folder of videos, of frames, or of crops with LUPerson-NL's names
    c.target = ""  # folder to make or to go on with; empty: tracklets/ in the work directory
    c.layout = "auto"  # videos, frames (a folder of images each), crops, or auto: what the source looks like
    c.tracks = ""  # MOTChallenge file, or folder with one per video: tracks, or detections to be tracked

    c.detector = ConfigDict()
    c.detector.file = ""  # OpenVINO IR (.xml) or .onnx, of SSD or YOLO kind; empty: OpenCV's people detector
    c.detector.kind = "auto"  # hog (built in), openvino, or auto: openvino where a file is given
    c.detector.confidence = -1.0  # boxes of a lower score are left out; -1: 0.1 of a network, 0.4 built in
    c.detector.person_class = -1  # number of the class "person"; -1: 1 of an SSD, 0 of a YOLO network
    c.detector.output = "auto"  # ssd, yolo5, yolo8, yolo_end, or auto: what the shape of the output says
    c.detector.nms_iou = 0.5  # of boxes that overlap more than this only the best stays (YOLO, built in)
    c.detector.input_size = (0, 0)  # height, width of networks that leave them open; zeros: 640x640
    c.detector.colour = "auto"  # input channels: bgr, rgb, or auto: bgr for an SSD, rgb for a YOLO network
    c.detector.maximum = 0.0  # white in the input; 0: 255 for an SSD, 1 for a YOLO network
    c.detector.device = "CPU"  # OpenVINO's name of where a network runs: CPU, GPU, AUTO, ...
    c.detector.batch = 0  # images a network gets at a time; 0: 4 if it can take several, else 1
    c.detector.smallest = 72  # pixels: smallest people for the built-in detector; half of it costs four times

    c.tracker = ConfigDict()
    c.tracker.name = "bytetrack"  # or sort
    # Scores as ByteTrack was published with; boxes between detector.confidence and `high` continue tracks only.
    c.tracker.start = 0.7  # score that begins a track
    c.tracker.high = 0.6  # ByteTrack: boxes from this score on are joined first
    c.tracker.min_iou = 0.3  # overlap with where the track is expected
    c.tracker.patience = 1.0  # seconds that a track which is not seen is kept
    c.tracker.min_hits = 2  # boxes before a track counts; those before are lost

    c.frame_step = 1  # people are detected and tracked in every n-th frame
    c.crop_step = 1  # of a tracklet, every n-th crop is kept; tracking is not touched
    c.segment = 0  # frames after which all tracks end and a new "video" begins; 0: never
    c.min_length = 5  # boxes; shorter tracklets are left out, whatever crop_step is
    c.min_height = 48  # pixels; smaller boxes are left out
    c.margin = 0.0  # added on each side, as a share of the box
    c.quality = 95  # of the JPEG files
    c.on_early_end = "skip"  # a video that breaks off: skip it, or keep what came before; listed either way
    c.max_bad_frames = 10  # undecodable frames that a video may have before its last one; it is listed
    c.table = "parquet"  # or csv
    c.workers = 0  # processes that share the videos; 0: one for every two cores
    c.threads = 0  # of each process, for detector and images; 0: the cores divided by the processes
    c.dry_run = False  # estimate time and disk space from a sample, write nothing
    return c
