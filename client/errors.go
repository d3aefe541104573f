package client

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// ErrConnectionLost is what Run's error matches when the SSH connection ended before it was asked to.
var ErrConnectionLost = errors.New("the SSH connection was lost")

// openFailure is why the bastion did not open a channel.
type openFailure struct {
	reason ssh.RejectionReason
	text   string
}

func (f *openFailure) Error() string { return f.text }

// openError says why the bastion did not open a channel to target, and what to do.
func openError(target string, err error) error {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return fmt.Errorf("open %s: %w", target, err)
	}
	said := sshconfig.Printable(refused.Message)
	text := fmt.Sprintf("the bastion refused %s: %s", target, said)
	switch refused.Reason {
	case ssh.Prohibited:
		todo := "ask its administrator"
		if strings.Contains(said, "(request ") {
			todo += ", with that number"
		}
		if !strings.Contains(said, "prohibited") {
			said = "administratively prohibited (" + said + ")"
		}
		text = fmt.Sprintf("the bastion refused %s: %s: %s", target, said, todo)
	case ssh.ConnectionFailed:
		text = fmt.Sprintf("the bastion can't reach %s: %s", target, said)
	case ssh.UnknownChannelType:
		text = fmt.Sprintf("the SSH server forwards no connections, so %s can't be reached: %s", target, said)
	case ssh.ResourceShortage:
		text = fmt.Sprintf("the bastion has no room for %s now: %s: try again later", target, said)
	}
	return &openFailure{refused.Reason, text}
}
