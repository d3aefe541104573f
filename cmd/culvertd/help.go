package main

import "strings"

// synopsis is how the command line of a command is written, and what its words are for.
type synopsis struct{ command, lines, words string }

// synopses begin with the server's, which has no word of its own.
var synopses = []synopsis{
	{"", `culvertd [-DeTtV] [-C connection] [-E log_file] [-f config_file]
                [-h host_key_file] [-o option] [-p port]
`, `
culvertd is an SSH bastion that understands FTP. It stays in the foreground.

  -f config_file    the default is ` + defaultConfig + `, see culvertd_config(5)
  -t                check the configuration and the host keys, and end
  -T                as -t, and show what the configuration comes to
  -C connection     for whom: user=alice,addr=192.0.2.7,host=,laddr=,lport=,group=,time=
  -o Keyword=value  as if it stood at the top of the file; it may be given several times
  -p port           to listen on; -h host_key_file
  -E log_file       instead of the standard error; -e and -D are what it does anyway
  -V                say the version

  culvertd audit show 12 FILE     what happened on a connection? "audit verify FILE": is the log whole?
  culvertd ctl list               who is connected, and what is open? kill, drain, reload, unban
  culvertd explain user=alice addr=192.0.2.7 open=db.corp:5432   would it be permitted, by which line?
  culvertd keygen /etc/culvert    makes host keys
  culvertd passwd alice           sets a password; --totp makes one-time codes, -l locks

Each of these has a --help of its own. The whole of it is in culvertd(8).
`},
	{"audit", `culvertd audit [--user user] [--conn id] [--event name] [--since time] [--until time]
                [--client address] [--denied] file ...
       culvertd audit show conn file ...
       culvertd audit verify [--head hash] file ...
`, `
The first prints the events that fit all that is given, as they are, a JSON object a line.

  --event 'ftp.*'   a name, or its beginning with a *; docs/audit.md has all names
  --since 2h        before now, or a date, or "2026-11-25 14:30"; --until likewise
  --client 203.0.113.0/24   an address or a network
  --denied          what was refused, and nothing else

  show 12 FILE      a connection as a person reads it; 12-3 is the number that a client was told
  verify FILE       is a line missing or changed? Give rotated files too, the oldest first.
  --head hash       that was noted elsewhere; it must be there, or the end was cut off
`},
	{"ctl", `culvertd ctl [-f config_file | -s socket] [--json] [--over time]
                list | show id | kill id | drain | reload | unban address
`, `
  list              who is connected, from where, and what is open; --over 10s measures rates for so long
  show id           one connection; --json for programs
  kill id           ends a connection
  drain             accepts nobody any more, and ends with the last connection
  reload            reads the configuration again, as SIGHUP does
  unban address     takes the penalties of an address back
  -s socket         instead of the ControlSocket of the configuration
`},
	{"explain", `culvertd explain [-f config_file] [-o option] [--json] user=name addr=address
                [host=name] [laddr=address] [lport=port] [group=name] [time=when] [key=SHA256:...]
                open=host:port [address=address] [data=address:port | ftp=command] | listen=[ftp/][address:]port
`, `
  user= addr=       who asks, and from where
  open=             may this be opened? With data=, may this announced FTP data endpoint?
                    With ftp=, may this command go to the FTP server there?
  listen=           may this be listened on, as by ssh -R? With ftp/, as by culvert -R ftp/?
  address=          of the host in open=, instead of looking it up
  key=              its fingerprint; group= instead of those of the account
  time=             2026-06-01T08:30, instead of now

It exits with 0 if it is permitted, with 1 if not, and with 2 if there is no answer.
`},
	{"keygen", `culvertd keygen directory
`, `
It makes an ed25519, an ECDSA and an RSA host key. A key that is there is kept.
`},
	{"passwd", `culvertd passwd [-d | -l | -u | --totp | --no-totp | --groups list]
                [-f password_file | -c config_file] user
       culvertd passwd --list [-f password_file | -c config_file]
`, `
Without a letter it sets the password: it asks, or reads a line from the standard input.

  -d, -l, -u        delete, lock, unlock the account
  --totp            make one-time codes and show the secret as a QR code; --no-totp takes it away
  --groups a,b      instead of those of the operating system
  --list            show the accounts
  -f password_file  instead of the PasswordFile of -c, which is ` + defaultConfig + `
`},
}

// synopsisOf returns that of the command that a command line begins with, or the server's.
func synopsisOf(args ...string) synopsis {
	for _, s := range synopses {
		if len(args) > 0 && s.command == args[0] {
			return s
		}
	}
	return synopses[0]
}

// usage is what stands under an error.
func (s synopsis) usage() string {
	text := "usage: " + s.lines
	if s.command == "" {
		text += "       culvertd " + strings.Join(commands(), " | ") + " ...\n"
	}
	return text
}

// help is what --help prints.
func (s synopsis) help() string { return s.usage() + s.words }

// commands are the words that may stand first on the command line.
func commands() []string {
	var names []string
	for _, s := range synopses[1:] {
		names = append(names, s.command)
	}
	return names
}
