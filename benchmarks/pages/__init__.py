"""From results to what people read: tables, charts, and whether the targets are reached."""
