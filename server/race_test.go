//go:build race

package server

// raceFactor is how much more memory we take with the race detector.
const raceFactor = 2
