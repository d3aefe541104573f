package auth

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// maxUserName bounds a user name, in bytes.
const maxUserName = 64

// ValidUser checks a user name. It consists of ASCII letters, digits and . _ - @ +, and begins with neither .
// nor -, so that it may stand in a path, in a line name:hash and on a command line.
func ValidUser(name string) error {
	switch {
	case name == "":
		return errors.New("user name is empty")
	case len(name) > maxUserName:
		return fmt.Errorf("user name is longer than %d bytes", maxUserName)
	case name[0] == '.' || name[0] == '-':
		return fmt.Errorf("user name begins with %q", name[0])
	}
	for i := range len(name) {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("._-@+", b) >= 0:
		default:
			return fmt.Errorf("user name contains %q", b)
		}
	}
	return nil
}

// clientLeft reports whether the handshake ended because the client, or the network, went away.
func clientLeft(err error) bool {
	var (
		refused *ssh.ServerAuthError
		network net.Error
	)
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &refused) || errors.As(err, &network) ||
		// x/crypto/ssh has no type for it.
		strings.HasPrefix(err.Error(), "ssh: disconnect, reason ")
}
