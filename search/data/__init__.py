"""From a folder of images to arrays and folds."""
