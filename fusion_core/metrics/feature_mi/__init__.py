"""Feature mutual information: feature maps, and the information that their windows share."""
