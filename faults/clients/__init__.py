"""The load: readers and writers that write records of what they see."""
