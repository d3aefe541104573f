package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ConfigTester asks OpenSSH's sshd what a configuration comes to, without starting it as a server.
type ConfigTester struct {
	HostKey string // the path of a private key, for HostKey

	folder string
	path   string
	env    []string
}

// NewConfigTester prepares for it. The caller must close it.
func NewConfigTester() (*ConfigTester, error) {
	path, err := Find("sshd")
	if err != nil {
		return nil, fmt.Errorf("ask sshd: %w", err)
	}
	folder, err := os.MkdirTemp("", "culvert-sshd-")
	if err != nil {
		return nil, fmt.Errorf("ask sshd: %w", err)
	}
	t := &ConfigTester{folder: folder, path: path}
	key, err := NewKey(folder, "host_key")
	if err == nil {
		t.HostKey = key.Path
		t.env, err = separation(nil, func(name, text string) (string, error) {
			path := filepath.Join(folder, name)
			return path, os.WriteFile(path, []byte(text), 0o600)
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask sshd: %w", err), t.Close())
	}
	return t, nil
}

// Effective returns what sshd -T prints of a file, for a connection as -C names one. If sshd refuses the file, the error says why.
func (t *ConfigTester) Effective(ctx context.Context, file, connection string) (string, error) {
	args := []string{"-T", "-f", file}
	if connection != "" {
		args = append(args, "-C", connection)
	}
	cmd := command(ctx, t.folder, t.path, args...)
	cmd.Env = append(cmd.Env, t.env...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run sshd -T: %w\n%s", err, stderrOf(err))
	}
	return string(out), nil
}

// Close removes what it has put into the file system.
func (t *ConfigTester) Close() error { return os.RemoveAll(t.folder) }

func stderrOf(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}
