package peers

import (
	"context"
	"path/filepath"
)

// netFTP is a client of Perl's Net::FTP, which many a script in production is made of. Its input is a line for each thing to do: a
// verb and its arguments.
const netFTP = `
use strict; use warnings; use Net::FTP;
my ($host, $port, $user, $password, $passive) = @ARGV;
my $ftp = Net::FTP->new($host, Port => $port, Passive => $passive, Timeout => 20) or die "connect: $@\n";
$ftp->login($user, $password) or die "login: " . $ftp->message;
$ftp->binary;
while (my $line = <STDIN>) {
	my ($verb, @args) = split ' ', $line;
	my $done = $verb eq 'get' ? $ftp->get(@args) : $verb eq 'put' ? $ftp->put(@args) : $ftp->ls(@args);
	die "$verb @args: " . $ftp->message unless defined $done;
	print "$_\n" for $verb eq 'ls' ? @$done : ();
}
$ftp->quit or die "quit: " . $ftp->message;
`

// ftplib is the same with Python's ftplib.
const ftplib = `
import ftplib, sys
host, port, user, password, passive = sys.argv[1:]
ftp = ftplib.FTP(timeout=20)
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.set_pasv(passive == "1")
for line in sys.stdin:
    verb, *args = line.split()
    if verb == "get":
        with open(args[1], "wb") as f:
            ftp.retrbinary("RETR " + args[0], f.write)
    elif verb == "put":
        with open(args[0], "rb") as f:
            ftp.storbinary("STOR " + args[1], f)
    else:
        print("\n".join(ftp.nlst(*args)))
ftp.quit()
`

// scripted runs the commands, each a line, in one session of a client that is a script.
func (c FTPClient) scripted(ctx context.Context, t Target, commands ...string) (string, error) {
	passive := "1"
	if t.Active {
		passive = "0"
	}
	args := []string{t.host(), t.port(), t.User, t.Password, passive}
	if c == Ftplib {
		return run(ctx, lines(commands...), "python3", append([]string{"-c", ftplib}, args...)...)
	}
	modules, err := netFTPModules()
	if err != nil {
		return "", err
	}
	return run(ctx, lines(commands...), "perl", append([]string{"-I" + modules, "-e", netFTP}, args...)...)
}

// netFTPModules returns the folder that make peers puts Net::FTP into, if perl lacks it.
func netFTPModules() (string, error) {
	root, err := repository()
	return filepath.Join(root, ".cache", "peers", "bin", "perl5"), err
}

// gets and puts are the commands for many files.
func gets(dir string, names []string, local string) []string {
	commands := make([]string, len(names))
	for i, name := range names {
		commands[i] = "get " + dir + "/" + name + " " + filepath.Join(local, name)
	}
	return commands
}

func puts(local string, names []string, dir string) []string {
	commands := make([]string, len(names))
	for i, name := range names {
		commands[i] = "put " + filepath.Join(local, name) + " " + dir + "/" + name
	}
	return commands
}
