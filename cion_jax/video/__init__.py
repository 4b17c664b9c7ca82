"""From videos to person tracklets: reading, detection, tracking, crops, and the file formats of others."""
