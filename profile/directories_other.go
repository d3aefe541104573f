//go:build !unix

package profile

import (
	"os"
	"path/filepath"
)

// directories returns where the files of a person and of the system are, on Windows.
func directories(string) (own, system string) {
	if base, err := os.UserConfigDir(); err == nil {
		own = filepath.Join(base, "culvert")
	}
	return own, filepath.Join(os.Getenv("ProgramData"), "culvert")
}
