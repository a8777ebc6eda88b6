"""From recordings to segments, and the containers segments are kept in."""
