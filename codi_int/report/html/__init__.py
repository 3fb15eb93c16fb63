"""Reports of runs as one HTML file each: what a page holds, its figures, the template."""
