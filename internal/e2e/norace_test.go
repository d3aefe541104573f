//go:build !race

package e2e

const raceDetector = false

// memoryFactor is how much more memory our programs take with the race detector.
const memoryFactor = 1
