"""Networks: ImageNet backbones, weight files, convolutions, tiles and devices."""
