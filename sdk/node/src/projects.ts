/** `client.projects`: what the account's keys are for. */
import type { APIPromise, OpenAI } from 'openai';
import { Page, type PagePromise } from 'openai/core/pagination';
import { APIResource } from 'openai/core/resource';
import { asAdmin, managementURL } from './management.js';

/** A project. Times are unix seconds, money is USD as a decimal string. */
export interface Project {
  object: 'project';
  id: string;
  name: string;
  archived: boolean;
  /** How many of its keys have not ended. */
  keys: number;
  /** What all of its keys cost in this UTC month. */
  spent_this_month: string;
  created_at: number;
  archived_at: number | null;
  /** For how many days prompts and answers of its keys are kept; null: they are not. */
  kept_days: number | null;
}

export interface ProjectCreateParams {
  name: string;
}

export interface ProjectUpdateParams {
  name?: string;
  archived?: boolean;
  /** Keep prompts and answers of its keys for so many days, at most 365; null for none. */
  kept_days?: number | null;
}

export class Projects extends APIResource {
  list(options?: OpenAI.RequestOptions): PagePromise<Page<Project>, Project> {
    const url = managementURL(this._client, 'projects');
    return this._client.getAPIList(url, Page<Project>, asAdmin(this._client, options));
  }

  retrieve(id: string, options?: OpenAI.RequestOptions): APIPromise<Project> {
    return this._client.get(managementURL(this._client, 'projects', id), asAdmin(this._client, options));
  }

  /** Make a project; keys are put into it by `client.keys`. */
  create(body: ProjectCreateParams, options?: OpenAI.RequestOptions): APIPromise<Project> {
    return this._client.post(managementURL(this._client, 'projects'), asAdmin(this._client, { body, ...options }));
  }

  /** Rename a project, archive it or take it back. */
  update(id: string, body: ProjectUpdateParams, options?: OpenAI.RequestOptions): APIPromise<Project> {
    const url = managementURL(this._client, 'projects', id);
    return this._client.patch(url, asAdmin(this._client, { body, ...options }));
  }
}
