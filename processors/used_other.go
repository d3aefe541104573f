//go:build !unix

package processors

import "time"

// used is nil, as the system doesn't tell.
var used func() time.Duration
