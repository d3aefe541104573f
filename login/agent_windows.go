package login

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// systemAgent is where the agent of Windows' own OpenSSH is.
const systemAgent = `\\.\pipe\openssh-ssh-agent`

// openAgent connects to the agent at a named pipe, or at a Unix socket, which Windows has as well.
func openAgent(ctx context.Context, path string, timeout time.Duration) (io.ReadWriteCloser, error) {
	if strings.HasPrefix(path, `\\.\pipe\`) {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	dialer := net.Dialer{Timeout: timeout}
	return dialer.DialContext(ctx, "unix", path)
}
