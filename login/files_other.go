//go:build !unix

package login

import (
	"os"
	"path/filepath"
)

// sshDirectory is where the system's ssh_config is, on Windows.
func sshDirectory() string { return filepath.Join(os.Getenv("ProgramData"), "ssh") }
