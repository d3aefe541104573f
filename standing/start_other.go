//go:build !unix

package standing

import "context"

// Start is not known here.
func (p Place) Start(context.Context, string, ...string) error { return errElsewhere }

// Background returns nil: there is no such process here.
func Background() (ready func(error)) { return nil }
