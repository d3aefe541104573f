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
	daemon, err := s.StartDaemon(server.Addr(), policy...)
	if err != nil {
		return err
	}
	defer daemon.Close()
	tunnel, err := s.StartClient(daemon.Addr, stage.User, s.Identity(), []string{"ftp/127.0.0.1:0:" + server.String()})
	if err != nil {
		return err
	}
	defer tunnel.Close()
	local := tunnel.Local[0]

	title("Running")
	fmt.Printf("  FTP server %s   culvertd %s   culvert %s\n", server, daemon.Addr, local)
	seen, err := transfers(ctx, local.String(), data, files)
	if err != nil {
		return err
	}
	title("A destination that no line allows")
	if err := refused(s, daemon.Addr, netip.AddrPortFrom(server.Addr(), server.Port()^1)); err != nil {
		return err
	}
	events, err := readAudit(daemon.Audit)
	if err != nil {
		return err
	}
	showRewriting(events, seen)
	showAudit(events, s.Folder)
	if hold {
		title("It stays up until you press Ctrl-C. Try")
		fmt.Printf("  lftp -u demo,demo -p %d %s\n  curl --user demo:demo ftp://%s/\n", local.Port(), local.Addr(), local)
		fmt.Printf("  ssh -p %d -i %s %s@%s\n  tail -f %s\n", daemon.Addr.Port(), s.Identity(), stage.User, daemon.Addr.Addr(), daemon.Audit)
		<-ctx.Done()
	}
	return nil
}

// transfers lists, downloads and uploads as any FTP client would, and returns the 227 replies that it saw.
func transfers(ctx context.Context, local string, data []byte, files afero.Fs) (seen []string, err error) {
	title("An FTP client, pointed at culvert")
	var dialogue bytes.Buffer
	c, err := ftp.Dial(local, ftp.DialWithContext(ctx), ftp.DialWithDisabledEPSV(true),
		ftp.DialWithTrustPasvIP(true), ftp.DialWithDebugOutput(&dialogue))
	if err != nil {
		return nil, err
	}
	defer c.Quit()
	if err := c.Login("demo", "demo"); err != nil {
		return nil, err
	}
	list, err := c.List("/")
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	for _, e := range list {
		fmt.Printf("  list      %s, %d bytes\n", e.Name, e.Size)
	}
	begin := time.Now()
	r, err := c.Retr("report.dat")
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if err := report("download", got, data, begin); err != nil {
		return nil, err
	}
	begin = time.Now()
	if err := c.Stor("copy.dat", bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	got, err = afero.ReadFile(files, "/copy.dat")
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	if err := report("upload", got, data, begin); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(&dialogue); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "227 ") {
			seen = append(seen, lines.Text())
		}
	}
	return seen, nil
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

// event is what the demo shows of an audit line.
type event struct {
	Event, Reply, Address, Request, FTP, Rule, Reason, Result, Target string
	Up, Down                                                          int64
}

func readAudit(path string) (events []event, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("audit line %q: %w", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events, lines.Err()
}

// showRewriting shows each announcement as the server made it and as the client saw it.
func showRewriting(events []event, seen []string) {
	title("What the server announced (an address behind NAT that leads nowhere), and what the client saw")
	for _, e := range events {
		if e.Event == "ftp.announced" && len(seen) > 0 {
			fmt.Printf("  %-52s → %s\n", e.Reply, seen[0])
			seen = seen[1:]
		}
	}
}

// showAudit prints the events that tell the story.
func showAudit(events []event, folder string) {
	title("What the audit log says")
	for _, e := range events {
		var text string
		switch e.Event {
		case "authentication":
			text = fmt.Sprintf("%s by %s", e.Result, e.Rule)
		case "ftp.announced":
			text = fmt.Sprintf("%s may be opened, once", e.Address)
		case "ftp.consumed":
			text = fmt.Sprintf("%s by request %s", e.Address, e.Request)
		case "channel.opened":
			text = fmt.Sprintf("%s %s, permitted by %s", e.Address, e.FTP, e.Rule)
		case "channel.closed":
			text = fmt.Sprintf("request %s: %d bytes up, %d down, %s", e.Request, e.Up, e.Down, e.Result)
		case "channel.refused":
			text = fmt.Sprintf("%s: %s, %s", e.Target, e.Reason, e.Rule)
		default:
			continue
		}
		fmt.Printf("  %-16s %s\n", e.Event, strings.ReplaceAll(text, folder+"/", ""))
	}
}

func title(s string) { fmt.Printf("\n%s\n", s) }
