"""From a trained bundle to a running service: models, manifests, images, services, and the settings they share."""
