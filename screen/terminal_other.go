//go:build !unix && !windows

package screen

import (
	"errors"
	"os"
)

func prepare(*os.File) error { return errors.New("it isn't known here how") }

func foreground(*os.File) bool { return true }
