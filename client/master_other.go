//go:build !unix

package client

import (
	"context"
	"errors"
)

// connectMaster has nothing to attach to: OpenSSH has no masters where there is no Unix.
func connectMaster(context.Context, *Config) (uplink, error) {
	return nil, errors.New("-S and --via: ssh has no ControlMaster on this system")
}
