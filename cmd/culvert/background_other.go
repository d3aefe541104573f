//go:build !unix

package main

import "errors"

// startBackground says that it can't be done.
func startBackground() error {
	return errors.New("culvert goes to the background on Unix alone: leave -f out, and have it started as a service")
}

// goesToBackground is never so.
func goesToBackground() (ready func(bool) error, ok bool) { return nil, false }
