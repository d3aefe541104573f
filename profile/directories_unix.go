//go:build unix

package profile

import (
	"os"
	"path/filepath"
)

// directories returns where the files of a person and of the system are. Own is empty if the person has no home.
func directories(home string) (own, system string) {
	base := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) && home != "" { // one that isn't is to be ignored
		base = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(base) {
		own = filepath.Join(base, "culvert")
	}
	return own, "/etc/culvert"
}
