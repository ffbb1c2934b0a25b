"""The load: readers and writers that record what they see."""
