//go:build !windows

package login

import (
	"context"
	"io"
	"net"
	"time"
)

// systemAgent is where an agent is if the environment doesn't say.
const systemAgent = ""

// openAgent connects to the agent at a Unix socket.
func openAgent(ctx context.Context, path string, timeout time.Duration) (io.ReadWriteCloser, error) {
	dialer := net.Dialer{Timeout: timeout}
	return dialer.DialContext(ctx, "unix", path)
}
