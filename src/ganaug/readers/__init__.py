"""Reader studies, which ask people to tell synthetic images from real ones."""
