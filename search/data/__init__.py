"""Images: found, decoded, cached, compared, grouped and split."""
