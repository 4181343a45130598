//go:build !race

package cache

// RaceDetector says whether this is built with it: then allocations are not those of the product.
const RaceDetector = false
