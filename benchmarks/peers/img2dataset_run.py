"""img2dataset over a list of URLs, no resize, its own shards: prints images and seconds.

img2dataset_run.py LIST OUTPUT PROCESSES
"""

import json
import sys
import time
from pathlib import Path

from img2dataset import download

if __name__ == "__main__":
    urls, output, processes = sys.argv[1:]
    begun = time.perf_counter()
    download(
        url_list=urls,
        output_folder=output,
        input_format="txt",
        output_format="webdataset",
        resize_mode="no",
        processes_count=int(processes),
        thread_count=64,
        number_sample_per_shard=1000,
    )
    seconds = time.perf_counter() - begun
    stored = sum(
        json.loads(file.read_text())["successes"] for file in Path(output).glob("*_stats.json")
    )
    print("RESULT", stored, seconds)
