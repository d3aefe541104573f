package relay

import (
	"errors"
	"testing"

	"golang.org/x/crypto/ssh"
)

// silent is a connection that answers no open, as one does that ends at the wrong moment.
type silent struct {
	ssh.Conn
	asked chan struct{}
	never chan struct{}
}

func (s silent) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	close(s.asked)
	<-s.never
	return nil, nil, errors.New("the test is over")
}

func TestOpenEndsWithTheConnection(t *testing.T) {
	s := silent{asked: make(chan struct{}), never: make(chan struct{})}
	defer close(s.never)
	done := make(chan struct{})
	go func() {
		<-s.asked
		close(done)
	}()
	if _, _, err := OpenChannel(s, done, "direct-tcpip", nil); !errors.Is(err, errEnded) {
		t.Errorf("got %v, want that the connection ended", err)
	}
}
