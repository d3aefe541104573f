package login

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if askHelper() {
		return
	}
	goleak.VerifyTestMain(m)
}

// discard serves a connection until it has ended.
func discard(c *Conn) {
	go ssh.DiscardRequests(c.Requests)
	for nc := range c.Channels {
		_ = nc.Reject(ssh.Prohibited, "no")
	}
}
