"""Folders of images, one folder a class or with a mask beside each image."""
