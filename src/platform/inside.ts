/**
 * What a process with the VM's uid sees and may do in the jail, told by the jail's own shell, which has nothing but
 * its builtins. It goes in by stdin, and is the same for every VM.
 * Shape:  lines `sees PATH` for everything in /dev, `writes DIRECTORY` for each directory that takes a new file.
 */
export const INSIDE_SCRIPT = `set -u
for path in /dev/* /dev/*/* /dev/*/*/* /dev/*/*/*/* /dev/*/*/*/*/* /dev/*/*/*/*/*/*; do
	[ ! -e "$path" ] || echo "sees $path"
done
for dir in / /*/ /*/*/ /*/*/*/; do
	[ ! -d "$dir" ] || ! (: >"$dir.brig-audit") 2>/dev/null || echo "writes $dir"
done
`;

/** Left behind by the script in each directory that it could write to. */
export const INSIDE_FILE = '.brig-audit';
