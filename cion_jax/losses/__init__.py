"""Losses: functions of arrays."""
