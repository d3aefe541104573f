package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaries is the folder with culvertd and culvert, built once by TestMain.
var binaries = os.Getenv(builtIn)

// builtIn tells a test that runs apart (see package lan) where they are.
const builtIn = "CULVERT_BINARIES"

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

// buildAndRun builds the programs as the tests themselves were built: with the race detector or without.
func buildAndRun(m *testing.M) int {
	if binaries != "" {
		return m.Run()
	}
	folder, err := os.MkdirTemp("", "culvert-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	binaries = folder
	args := []string{"build", "-o", folder + string(filepath.Separator)}
	if raceDetector {
		args = append(args, "-race")
	}
	module := "github.com/culvert-ssh/culvert"
	cmd := exec.Command("go", append(args, module+"/cmd/culvertd", module+"/cmd/culvert")...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build culvertd and culvert:", err)
		return 1
	}
	return m.Run()
}
