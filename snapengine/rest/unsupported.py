"""Members of the API's family that a single host without image and backup servers has no place for (SYS.1013)."""

_NO_STORE = "there is no backup or image storage on a single host; use 'snapengine snapshot export'"

ROWS = (
    ("backupVolumeSnapshot", "POST", "volume-snapshots/{uuid}/backup-storages", _NO_STORE),
    ("deleteVolumeSnapshotFromBackupStorage", "DELETE", "volume-snapshots/{uuid}/backup-storages", _NO_STORE),
    ("createRootVolumeTemplateFromVolumeSnapshot", "POST",
     "images/root-volume-templates/from/volume-snapshots/{volumeSnapshotUuid}", _NO_STORE),
    ("createDataVolumeTemplateFromVolumeSnapshot", "POST",
     "images/data-volume-templates/from/volume-snapshots/{volumeSnapshotUuid}", _NO_STORE),
    ("createDataVolumeFromVolumeTemplate", "POST", "volumes/data/from/data-volume-templates/{imageUuid}", _NO_STORE),
    ("updateSystemTag", "PUT", "system-tags/{uuid}/actions", "a tag can't be changed; delete it and create another"),
)  # fmt: skip

WHY = {name: why for name, _, _, why in ROWS}
