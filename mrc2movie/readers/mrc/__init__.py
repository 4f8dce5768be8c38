"""MRC files: header, extended header, voxels, and MRCZ."""
