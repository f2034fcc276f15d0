"""`cutout bulk`: whole folders and manifests, taken up again where they were left."""
