"""Problems of an image folder, found before anything is trained."""
