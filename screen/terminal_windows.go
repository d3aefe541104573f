package screen

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepare has the console obey what other terminals obey.
func prepare(f *os.File) error {
	var mode uint32
	if err := windows.GetConsoleMode(windows.Handle(f.Fd()), &mode); err != nil {
		return err
	}
	return windows.SetConsoleMode(windows.Handle(f.Fd()), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
}

func foreground(*os.File) bool { return true }
