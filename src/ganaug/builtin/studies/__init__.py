"""Built-in studies: five published ones, made precise, and one for any image set."""
