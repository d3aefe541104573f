package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// EffectiveSSH returns what ssh -G prints of a command line: a configuration without connecting. The environment is the caller's, with
// env added. If ssh refuses it, the error says why.
func EffectiveSSH(ctx context.Context, env []string, args ...string) (string, error) {
	path, err := Find("ssh")
	if err != nil {
		return "", fmt.Errorf("ask ssh: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"-G"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run ssh -G: %w\n%s", err, stderrOf(err))
	}
	return string(out), nil
}
