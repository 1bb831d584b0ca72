"""What a pod asks for and a node offers is worth in cards: resources, sharing schemes, slices, ResourceClaims. Pure."""
