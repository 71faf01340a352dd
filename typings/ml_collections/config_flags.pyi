from absl import flags

def DEFINE_config_file(
    name: str,
    default: str | None = None,
    help_string: str = ...,
    flag_values: flags.FlagValues = ...,
    lock_config: bool = True,
) -> flags.FlagHolder: ...
def get_config_filename(config_flag: flags.Flag) -> str: ...
