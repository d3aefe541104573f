package peers

import (
	"context"
	"fmt"
)

// LoadNFT puts rules for nft in force, in the network namespace that it is called in. That must be one of the test's own.
func LoadNFT(ctx context.Context, rules string) error {
	_, err := run(ctx, rules, "nft", "-f", "-")
	return err
}

// RunIPTables runs a shell script that calls iptables and ip6tables, in the network namespace that it is called in. That must be
// one of the test's own.
func RunIPTables(ctx context.Context, script string) error {
	prelude := "set -e\n"
	for _, name := range []string{"iptables", "ip6tables"} {
		path, err := Find(name + "-nft")
		if err != nil {
			return err
		}
		prelude += fmt.Sprintf("%s() { '%s' \"$@\"; }\n", name, path)
	}
	_, err := run(ctx, prelude+script, "sh")
	return err
}
