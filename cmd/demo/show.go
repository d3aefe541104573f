package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/jlaffaye/ftp"
	"github.com/spf13/afero"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/stage"
)

// fileSize is long enough to see a rate and short enough for a demo.
const fileSize = 64 << 20

func run(ctx context.Context, bin string, hold bool) error {
	data := make([]byte, fileSize)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data)
	files := afero.NewMemMapFs()
	if err := afero.WriteFile(files, "/report.dat", data, 0o644); err != nil {
		return err
	}
	server, stopFTP, err := startFTP(files)
	if err != nil {
		return err
	}
	defer stopFTP()
	s, err := stage.New(bin)
	if err != nil {
		return err
	}
	defer s.Close()
	policy := []string{
		"DenyOpen  169.254.0.0/16:*",
		"Match User " + stage.User,
		"    PermitOpen  ftp/" + server.String(),
	}
	title("The bastion's policy, in sshd_config's language")
	fmt.Println("  " + strings.Join(policy, "\n  "))
	daemon, err := s.StartDaemon(ctx, server.Addr(), policy...)
	if err != nil {
		return err
	}
	defer daemon.Close()
	tunnel, err := s.StartClient(ctx, daemon.Addr, stage.User, s.Identity(), []string{"ftp/127.0.0.1:0:" + server.String()})
	if err != nil {
		return err
	}
	defer tunnel.Close()
	local := tunnel.Local[0]

	title("Running")
	fmt.Printf("  FTP server %s   culvertd %s   culvert %s\n", server, daemon.Addr, local)
	if err := transfers(ctx, local.String(), data, files); err != nil {
		return err
	}
	title("A destination that no line allows")
	if err := refused(s, daemon.Addr, netip.AddrPortFrom(server.Addr(), server.Port()^1)); err != nil {
		return err
	}
	if err := showAudit(daemon.Audit); err != nil {
		return err
	}
	if hold {
		title("It stays up until you press Ctrl-C. Try")
		fmt.Printf("  lftp -u demo,demo -p %d %s\n  curl --user demo:demo ftp://%s/\n", local.Port(), local.Addr(), local)
		fmt.Printf("  ssh -p %d -i %s %s@%s\n  tail -f %s\n", daemon.Addr.Port(), s.Identity(), stage.User, daemon.Addr.Addr(), daemon.Audit)
		<-ctx.Done()
	}
	return nil
}

// transfers lists, downloads and uploads as any FTP client would.
func transfers(ctx context.Context, local string, data []byte, files afero.Fs) error {
	title("An FTP client, pointed at culvert")
	var dialogue bytes.Buffer
	c, err := ftp.Dial(local, ftp.DialWithContext(ctx), ftp.DialWithDisabledEPSV(true),
		ftp.DialWithTrustPasvIP(true), ftp.DialWithDebugOutput(&dialogue))
	if err != nil {
		return err
	}
	defer c.Quit()
	if err := c.Login("demo", "demo"); err != nil {
		return err
	}
	list, err := c.List("/")
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, e := range list {
		fmt.Printf("  list      %s, %d bytes\n", e.Name, e.Size)
	}
	begin := time.Now()
	r, err := c.Retr("report.dat")
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("download: %w", err)
	}
	if err := report("download", got, data, begin); err != nil {
		return err
	}
	begin = time.Now()
	if err := c.Stor("copy.dat", bytes.NewReader(data)); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	got, err = afero.ReadFile(files, "/copy.dat")
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if err := report("upload", got, data, begin); err != nil {
		return err
	}
	title("The announcement that the client saw, each rewritten to where culvert listens")
	for lines := bufio.NewScanner(&dialogue); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "227 ") {
			fmt.Println("  " + lines.Text())
		}
	}
	return nil
}

func report(what string, got, want []byte, begin time.Time) error {
	took := time.Since(begin)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		return fmt.Errorf("%s: %d bytes arrived and are not those that were sent", what, len(got))
	}
	fmt.Printf("  %-9s %d MiB, sha256 equal, %.0f MB/s\n", what, len(got)>>20, float64(len(got))/1e6/took.Seconds())
	return nil
}

// refused asks the bastion for a destination that its policy doesn't have.
func refused(s *stage.Stage, bastion, to netip.AddrPort) error {
	c, err := ssh.Dial("tcp", bastion.String(), &ssh.ClientConfig{
		User: stage.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.Signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the key is this program's own, a second ago
	})
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := c.Dial("tcp", to.String())
	if err == nil {
		conn.Close()
		return fmt.Errorf("%v could be opened and must not", to)
	}
	fmt.Printf("  %v: %v\n", to, err)
	return nil
}

// showAudit prints the audit lines that tell the story.
func showAudit(path string) error {
	title("What the audit log says")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e struct {
			Event, Reply, Address, Named, Control, Request, Type, FTP, Rule, Reason, Result, Key, Keyline, Target, End string
			Up, Down                                                                                                   int64
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("audit line %q: %w", lines.Text(), err)
		}
		switch e.Event {
		case "authentication":
			fmt.Printf("  %-16s %s by %s\n", e.Event, e.Result, e.Keyline)
		case "ftp.announced":
			fmt.Printf("  %-16s %q: %s may be opened, once\n", e.Event, e.Reply, e.Address)
		case "ftp.consumed":
			fmt.Printf("  %-16s %s by request %s\n", e.Event, e.Address, e.Request)
		case "channel.opened":
			fmt.Printf("  %-16s %s %s, permitted by %s\n", e.Event, e.Address, e.FTP, e.Rule)
		case "channel.closed":
			fmt.Printf("  %-16s request %s: %d bytes up, %d down, %s\n", e.Event, e.Request, e.Up, e.Down, e.End)
		case "channel.refused":
			fmt.Printf("  %-16s %s: %s %s\n", e.Event, e.Target, e.Reason, e.Rule)
		}
	}
	return nil
}

func title(s string) { fmt.Printf("\n%s\n", s) }
