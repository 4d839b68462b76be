"""Several networks from one pack of faces: teachers, then the students that they teach."""
