"""Reading a real kernel's image: its segments, exports, symbols and types. Nothing is imported by default."""
