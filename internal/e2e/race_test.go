//go:build race

package e2e

const raceDetector = true

const memoryFactor = 8
